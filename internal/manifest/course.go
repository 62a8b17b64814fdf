package manifest

import "strings"

// Marker is the file that makes a tree a course.
const Marker = "infoCourse.json"

// State is where a directory stands in the layout of a course. It follows from
// the names on the way down alone, so that equal trees in equal states have
// equal chunks.
type State uint8

// The states in which a walk begins.
const (
	CourseRoot State = iota // the root of a tree with a Marker
	TopRoot                 // the root of any other tree
	inRest
	inChunk
	inQuestions
	inQuestion
	inQuestionClientFiles
	inInstances
	inInstance
	inAssessments
	inAssessment
)

// Enter is the step from a directory in state s to its child directory called
// name; has says whether the child holds a file of that name. The child begins
// a chunk of its own unless kind is Rest.
func (s State) Enter(name string, has func(file string) bool) (next State, kind ChunkKind) {
	switch s {
	case CourseRoot:
		switch name {
		case "questions":
			return inQuestions, Rest
		case "courseInstances":
			return inInstances, Rest
		case "elements":
			return inChunk, Elements
		case "elementExtensions":
			return inChunk, ElementExtensions
		case "serverFilesCourse":
			return inChunk, ServerFilesCourse
		case "clientFilesCourse":
			return inChunk, ClientFilesCourse
		}
		return inRest, Rest
	case TopRoot:
		return inChunk, Top
	case inQuestions: // the walk stops at the first info.json
		if has("info.json") {
			return inQuestion, Question
		}
		return inQuestions, Rest
	case inQuestion:
		if name == "clientFilesQuestion" {
			return inQuestionClientFiles, Rest
		}
	case inInstances:
		if has("infoCourseInstance.json") {
			return inInstance, Rest
		}
		return inInstances, Rest
	case inInstance:
		switch name {
		case "clientFilesCourseInstance":
			return inChunk, ClientFilesCourseInstance
		case "serverFilesCourseInstance":
			return inChunk, ServerFilesCourseInstance
		case "assessments":
			return inAssessments, Rest
		}
		return inRest, Rest
	case inAssessments:
		if has("infoAssessment.json") {
			return inAssessment, Rest
		}
		return inAssessments, Rest
	case inAssessment:
		if name == "clientFilesAssessment" {
			return inChunk, ClientFilesAssessment
		}
		return inRest, Rest
	case inRest:
		return inRest, Rest
	}
	return inChunk, Rest
}

// Thumbnail says whether a file of this name, in a directory in state s, belongs
// to the chunk of thumbnails: beside a question's info.json or in its
// clientFilesQuestion.
func (s State) Thumbnail(name string) bool {
	return (s == inQuestion || s == inQuestionClientFiles) && strings.HasPrefix(name, "thumbnail.")
}
